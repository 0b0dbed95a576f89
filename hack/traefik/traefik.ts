/** The real Traefik, pinned in go/go.mod: its definitions, and its server with a main of ours. */
import { join } from 'node:path'
import type { ClusterAccess } from '../control-plane/cluster-access.ts'
import { goModuleFolder } from '../go-programs/go-module-folder.ts'
import { goProgram } from '../go-programs/go-program.ts'
import type { GoWork } from '../go-programs/go-work.ts'

const GO_MODULE_FOLDER = join(import.meta.dirname, 'go')
const TRAEFIK = 'github.com/traefik/traefik/v3'

/** Applies Traefik's own definitions and waits until they are served. @throws GoProgramFailure when the module cannot be had */
export const applyTraefikDefinitions = async (cluster: ClusterAccess, work: GoWork = {}): Promise<void> => {
  const file = join(await goModuleFolder(GO_MODULE_FOLDER, TRAEFIK, work), 'docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml')
  await cluster.kubectl(['apply', '--server-side', '-f', file])
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=90s', '-f', file])
}

/**
 * Options: `--address=host:port`, `--kubeconfig=path`. It ends by SIGTERM.
 * @throws GoProgramFailure when it cannot be built
 */
export const traefikProgram = (work: GoWork = {}): Promise<string> => goProgram({ name: 'traefik', moduleFolder: GO_MODULE_FOLDER }, work)
