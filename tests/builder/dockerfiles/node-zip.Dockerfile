# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022 AS unpack
SHELL ["powershell", "-Command", "$ErrorActionPreference = 'Stop';"]
COPY tools\node.zip C:\node.zip
RUN Expand-Archive C:\node.zip -DestinationPath C:\

FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
COPY --from=unpack C:\node C:\nodejs
USER ContainerAdministrator
RUN setx /M PATH "%PATH%;C:\nodejs"
USER ContainerUser
CMD ["node.exe"]
