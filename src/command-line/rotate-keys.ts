/** Options of the command `rotate-keys`: its environment variables, under names of the command line. */
import type { Command } from 'commander'
import { rotateKeysOptions, type RotateKeysOptions } from '../jwt/rotate-keys.ts'

export interface RotateKeysFlags {
  secretName?: string
  secretNamespace?: string
  numberOfKeys?: string
  tokenTtl?: string
  rotationInterval?: string
  dryRun?: true
}

const HELP = `
Run by the CronJobs in manifests/, at every ROTATION_INTERVAL. A key stays until the last token that it signed has run out:
ceil(TOKEN_TTL / ROTATION_INTERVAL) + 1 keys at least. By hand, with the rights on the one Secret:
  access-gate rotate-keys --secret-namespace connectors-system --secret-name authmiddleware-secrets \\
    --token-ttl 1h --rotation-interval 15m --dry-run
`

export const addRotateKeysOptions = (command: Command): Command =>
  command
    .option('--secret-name <name>', 'Secret with the signing keys (SECRET_NAME)')
    .option('--secret-namespace <name>', 'its namespace (SECRET_NAMESPACE)')
    .option('--number-of-keys <number>', 'how many keys stay; without it what the two durations ask for, else 6 (NUMBER_OF_KEYS)')
    .option('--token-ttl <duration>', 'how long a token is good that these keys sign (TOKEN_TTL)')
    .option('--rotation-interval <duration>', 'how often this is run (ROTATION_INTERVAL)')
    .option('--dry-run', 'say what would be done, and write nothing (DRY_RUN)')
    .addHelpText('after', HELP)

/** An option counts before the environment. @throws CodedError CONFIG_INVALID */
export const readRotateKeysOptions = (flags: RotateKeysFlags, env: NodeJS.ProcessEnv): RotateKeysOptions =>
  rotateKeysOptions({
    SECRET_NAME: flags.secretName ?? env['SECRET_NAME'],
    SECRET_NAMESPACE: flags.secretNamespace ?? env['SECRET_NAMESPACE'],
    NUMBER_OF_KEYS: flags.numberOfKeys ?? env['NUMBER_OF_KEYS'],
    TOKEN_TTL: flags.tokenTtl ?? env['TOKEN_TTL'],
    ROTATION_INTERVAL: flags.rotationInterval ?? env['ROTATION_INTERVAL'],
    DRY_RUN: flags.dryRun === true ? 'true' : env['DRY_RUN'],
  })
