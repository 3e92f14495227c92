# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
COPY tools\agent.msi C:\temp\agent.msi
RUN msiexec /i C:\temp\agent.msi /qn /norestart /l*v C:\temp\agent.log
RUN rmdir /s /q C:\temp
