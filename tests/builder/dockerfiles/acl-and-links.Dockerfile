# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
COPY --acl="O:BAG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)" config C:\secrets
COPY app C:\versions\1.0
RUN mklink /d C:\current C:\versions\1.0 && mklink /h C:\app.exe C:\versions\1.0\app.exe
RUN robocopy C:\versions\1.0 C:\copy /e || echo copied
WORKDIR C:\current
CMD app.exe
