# escape=`
ARG TAG=ltsc2022
FROM mcr.microsoft.com/windows/nanoserver:${TAG}
USER ContainerAdministrator
RUN mkdir C:\data && icacls C:\data /grant "ContainerUser:(OI)(CI)M"
USER ContainerUser
COPY --chown=ContainerUser app C:\app
WORKDIR C:\app
CMD ["app.exe"]
