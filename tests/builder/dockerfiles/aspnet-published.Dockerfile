# escape=`
# The publish step ran on the build machine.
FROM mcr.microsoft.com/dotnet/aspnet:8.0-nanoserver-ltsc2022
ENV ASPNETCORE_URLS=http://+:5000 `
    DOTNET_RUNNING_IN_CONTAINER=true
WORKDIR C:\site
COPY --link dist .
EXPOSE 5000/tcp
HEALTHCHECK --interval=30s --timeout=5s --start-period=1m --retries=3 `
  CMD curl.exe -fsS http://localhost:5000/health || exit 1
ENTRYPOINT ["dotnet", "site.dll"]
