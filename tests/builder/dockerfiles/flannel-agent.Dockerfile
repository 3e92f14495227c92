# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2019 AS prep
RUN mkdir C:\k\flannel & mkdir C:\etc\kube-flannel
COPY dist\flanneld.exe C:\k\flannel\
FROM mcr.microsoft.com/windows/nanoserver:1809
COPY --from=prep C:\k\flannel\flanneld.exe C:\flanneld.exe
COPY --from=0 C:\etc\kube-flannel C:\etc\kube-flannel
COPY <<'net.json' C:\etc\kube-flannel\net-conf.json
{
  "Network": "10.244.0.0/16",
  "Backend": { "Name": "cni0", "Type": "vxlan", "Path": "C:\\k" }
}
net.json
USER ContainerAdministrator
ENTRYPOINT ["C:\\flanneld.exe", "--kube-subnet-mgr"]
