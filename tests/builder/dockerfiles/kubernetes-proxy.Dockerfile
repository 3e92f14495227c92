# escape=`
FROM mcr.microsoft.com/oss/kubernetes/windows-host-process-containers-base-image:v1.0.0
ENV PATH="C:\Windows\system32;C:\Windows;C:\Windows\System32\WindowsPowerShell\v1.0\"
WORKDIR C:\hpc
COPY dist\kube-proxy.exe config\kube-proxy.ps1 .\
CMD ["powershell.exe", "-File", "C:\\hpc\\kube-proxy.ps1"]
