# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
SHELL ["cmd", "/S", "/C"]
COPY tools\agent C:\agent
RUN if not exist C:\agent\_work mkdir C:\agent\_work
RUN echo {"work":"_work"}> C:\agent\.agent && attrib +h C:\agent\.agent
RUN icacls C:\agent /grant *S-1-5-32-545:(OI)(CI)RX /t
RUN reg add "HKLM\SYSTEM\CurrentControlSet\Control\FileSystem" /v LongPathsEnabled /t REG_DWORD /d 1 /f
WORKDIR C:\agent
CMD run.cmd
