FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
ONBUILD ONBUILD COPY . /app
ONBUILD FROM scratch
