# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
COPY tools\python-amd64.exe C:\setup.exe
RUN C:\setup.exe /quiet InstallAllUsers=1 PrependPath=1 TargetDir=C:\Python
RUN del C:\setup.exe
