# syntax=docker/dockerfile:1
ARG SDK=8.0-nanoserver-ltsc2022
FROM mcr.microsoft.com/dotnet/sdk:${SDK} AS build
WORKDIR /src
COPY src/*.csproj ./
RUN dotnet restore
COPY src/ ./
RUN dotnet publish -c Release -o /out

FROM mcr.microsoft.com/dotnet/aspnet:8.0-nanoserver-ltsc2022
WORKDIR /app
COPY --from=build /out ./
ENTRYPOINT ["dotnet", "app.dll"]
