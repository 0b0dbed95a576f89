# The image of all roles: docker build -t access-gate:0.1.0 .
# It holds Node, the bundle and the licences; it writes no file, so its root file system may be read-only.

# Node 24 with npm, for the build.
ARG NODE_IMAGE=node:24-slim
# What the bundle runs on: any image with Node 22.19 or newer on its PATH; `access-gate csi --tmpfs` calls mount and umount besides, which
# the default has. The default is the image above without its package managers.
ARG RUNTIME_IMAGE=runtime

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json LICENSE ./
COPY hack/build.ts hack/build.ts
COPY hack/build hack/build
COPY src src
COPY webhooks webhooks
RUN npm run build

FROM ${NODE_IMAGE} AS runtime
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-*

FROM ${RUNTIME_IMAGE}
# Named as a module: beside no package.json, Node would read a .js file twice to find that out.
COPY --from=build /build/dist/access-gate.js /access-gate/access-gate.mjs
COPY --from=build /build/dist/THIRD-PARTY-NOTICES.txt /build/LICENSE /access-gate/
# A number, so that kubelet can see that it is not root; the Deployments name the same one. On the nodes the DaemonSet says root.
USER 65532:65532
# The command, which is the role, comes from the Deployment or DaemonSet.
ENTRYPOINT ["node", "/access-gate/access-gate.mjs"]
CMD ["--help"]
