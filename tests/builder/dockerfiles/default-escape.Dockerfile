# Paths with slashes need no directive.
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
WORKDIR /app
COPY app/ /app/
COPY ["config/app.config", "C:/Program Files/App/"]
ENV APP_ROOT C:/Program Files/App
CMD ["C:/app/app.exe"]
