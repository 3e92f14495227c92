# escape=`
FROM registry.example/node:20-windows
WORKDIR C:\app
COPY package.json .
RUN --mount=type=cache,target=C:\npm npm install
