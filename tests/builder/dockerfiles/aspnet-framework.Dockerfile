# escape=`
FROM mcr.microsoft.com/dotnet/framework/sdk:4.8.1-windowsservercore-ltsc2022 AS build
WORKDIR C:\src
COPY src .
RUN msbuild app.sln /p:Configuration=Release `
 && xcopy /s /y bin\Release C:\out\

FROM mcr.microsoft.com/dotnet/framework/aspnet:4.8.1-windowsservercore-ltsc2022
COPY --from=build C:\out C:\inetpub\wwwroot
