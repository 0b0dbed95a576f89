#!/usr/bin/env node
/** The only place that reads arguments and environment, builds a client, and owns signals and the exit code. */
import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import closeWithGrace from 'close-with-grace'
import type { Logger } from 'pino'
import packageJson from '../package.json' with { type: 'json' }
import { commandLine, type Settings } from './command-line.ts'
import { isCoded, messageOf } from './errors.ts'
import type { RotateKeysOptions } from './jwt/rotate-keys.ts'
import { createClient, type KubeClient } from './kube/client.ts'
import { systemClock } from './kube/timers.ts'
import { createLogger } from './log.ts'

/** Past this, and the drain that was asked for (milliseconds), the process ends however far it got. */
const STOP_WITHIN_MS = 60_000

/** What every role is once it runs. */
interface Running {
  failed: Promise<never>
  stop(): Promise<void>
}

type ServingSettings = Exclude<Settings, { role: 'rotate-keys' }>

/** Each role is loaded alone: the others would take as much memory as it does. */
const start = async ({ role, options }: ServingSettings, kube: KubeClient, logger: Logger): Promise<Running> => {
  const env = { logger, clock: systemClock }
  switch (role) {
    case 'webhook': {
      const { runWebhook } = await import('../webhooks/role.ts')
      return runWebhook(options, { reader: kube, writer: kube, permission: kube }, env)
    }
    case 'controller': {
      const { runController } = await import('./controller/role.ts')
      return runController(options, kube, env)
    }
    case 'csi': {
      const { runCsi } = await import('./csi/role.ts')
      return runCsi(options, kube, { ...env, version: packageJson.version })
    }
    case 'extension': {
      const { runExtension } = await import('./extension/role.ts')
      return runExtension(options, { reader: kube, writer: kube, watcher: kube, permission: kube }, { ...env, version: packageJson.version })
    }
    case 'auth': {
      const { runAuth } = await import('./auth/role.ts')
      return runAuth(options, kube, env)
    }
    default:
      return role satisfies never
  }
}

/** How long a role may take by its own options once it was told to stop, milliseconds. */
const servesOnMs = ({ role, options }: Settings): number => {
  if (role === 'auth') return options.shutdownTimeoutMs
  return role === 'webhook' || role === 'extension' ? options.drainMs : 0
}

/** Runs once, and ends. */
const rotateKeys = async (options: RotateKeysOptions, kube: KubeClient, logger: Logger): Promise<void> => {
  const { runRotateKeys } = await import('./jwt/rotate-keys.ts')
  try {
    await runRotateKeys(options, { reader: kube, writer: kube }, { logger, clock: systemClock, randomBytes })
  } finally {
    kube.close()
  }
}

// V8 compiles functions on a thread of its own that may wait for a collection of garbage when the process ends; the end waits for the thread,
// and nobody collects (seen with Node 24: everything was stopped, and the process stood still until it was killed).
setFlagsFromString('--no-concurrent-sparkplug')

const runRole = async (settings: Settings): Promise<void> => {
  const { role, common } = settings
  const { logLevel, ...where } = common
  // It keeps much and computes little: reading ten thousand requests leaves twice as much memory behind without this.
  if (role === 'controller' || role === 'csi') setFlagsFromString('--optimize-for-size')
  const logger = createLogger({ level: logLevel }).child({ role })
  const kube = await createClient({ ...where, userAgent: `access-gate/${packageJson.version} ${role}` })
  logger.info({ version: packageJson.version, server: kube.server }, 'starting')
  if (settings.role === 'rotate-keys') return rotateKeys(settings.options, kube, logger)
  const running = await start(settings, kube, logger)
  const delay = STOP_WITHIN_MS + servesOnMs(settings)
  closeWithGrace({ delay, logger: { error: (error: unknown) => logger.error({ err: error }, 'stopping after an error') } }, async ({ signal, err }) => {
    logger.info({ signal, err }, 'stopping')
    await running.stop()
    kube.close()
  })
  running.failed.catch(async () => {
    await running.stop()
    process.exit(1)
  })
}

/** One sentence for what the caller can mend; everything else with its stack. */
const fail = (error: unknown): void => {
  process.stderr.write(`error: ${isCoded(error) ? messageOf(error) : error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  process.exit(1)
}

try {
  await commandLine({ version: packageJson.version, env: process.env, run: runRole }).parseAsync()
} catch (error) {
  fail(error)
}
