# escape=`
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
WORKDIR C:\app
ONBUILD COPY package.json .
ONBUILD COPY src .\src
ONBUILD ENV APP_READY=1
CMD ["app.exe"]
