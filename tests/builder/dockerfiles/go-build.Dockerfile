# escape=`
FROM golang:1.22-nanoserver-ltsc2022 AS build
WORKDIR C:\src
COPY go.mod go.sum .\
RUN go mod download
COPY . .
RUN go build -o C:\out\tool.exe .\cmd\tool
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
COPY --from=build C:\out\tool.exe C:\tool.exe
ENTRYPOINT ["C:\\tool.exe"]
