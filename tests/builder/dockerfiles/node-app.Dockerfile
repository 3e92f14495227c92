FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
WORKDIR /srv
COPY package*.json ./
RUN npm ci --omit=dev
COPY src src
CMD ["node", "src/index.js"]
