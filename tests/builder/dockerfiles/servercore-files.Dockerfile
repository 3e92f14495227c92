# escape=`
# A service whose files are built elsewhere.
FROM mcr.microsoft.com/windows/servercore:ltsc2022

LABEL org.opencontainers.image.title="Order service" `
      org.opencontainers.image.vendor="Example"

WORKDIR C:\orders
COPY app\ .\
COPY config\app.config C:\orders\orders.config
ENV ORDERS_HOME=C:\orders `
    ORDERS_MODE=production
EXPOSE 8080
ENTRYPOINT ["C:\\orders\\app.exe", "--service"]
