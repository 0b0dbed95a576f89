import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { test } from 'tap'
import { CodedError } from '../src/errors.ts'
import { createLogger } from '../src/log.ts'

const SECRET = 'hunter2-hunter2'
const TOKEN = `eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.${'s'.repeat(43)}`

/** The lines that a logger wrote, as text. */
const written = (use: (log: ReturnType<typeof createLogger>) => void): string[] => {
  const lines: string[] = []
  use(createLogger({ level: 'info', destination: { write: (line: string) => lines.push(line) } }))
  return lines
}

class Carrier extends Error {
  readonly token = SECRET
  readonly code = 'E_CARRIER'
  readonly request = { headers: { authorization: SECRET } }
}

const secretObject = { kind: 'Secret', metadata: { name: 's', annotations: { 'kubectl.kubernetes.io/last-applied-configuration': SECRET } }, data: { anything: SECRET }, stringData: { other: SECRET } }
const HOLDING: Record<string, object> = {
  'headers': { headers: { Authorization: `Bearer ${SECRET}`, 'proxy-authorization': SECRET, cookie: SECRET, 'set-cookie': [SECRET] } },
  'fields by name': { token: SECRET, idToken: SECRET, access_token: SECRET, password: SECRET, 'client-key-data': SECRET, 'tls.key': SECRET, key: SECRET, clientSecret: SECRET, passphrase: { text: SECRET } },
  'deep inside': { a: [{ b: { c: { d: [{ password: SECRET }] } } }] },
  'a Secret': { object: secretObject },
  'a list of Secrets, whose items have no kind': { list: { kind: 'SecretList', items: [{ ...secretObject, kind: undefined }] } },
  'an error and its causes': { err: new CodedError('KUBE_UNAVAILABLE', 'outer', { cause: new Carrier(`sent Bearer ${SECRET}`) }) },
  'an error in another field': { failed: { because: new Carrier(`sent Bearer ${SECRET}`) } },
  'text with credentials': { note: `Authorization: Bearer ${SECRET}`, other: `Basic ${SECRET}`, jwt: `token is ${TOKEN}.`, pem: `-----BEGIN RSA PRIVATE KEY-----\n${SECRET}\n-----END RSA PRIVATE KEY-----` },
}

await test('nothing secret is shown, whatever is logged', async (t) => {
  for (const [sentence, fields] of Object.entries(HOLDING)) {
    const lines = written((log) => {
      log.info(fields, 'a message')
      log.child(fields).info('by a child')
    })
    t.equal(lines.length, 2, sentence)
    for (const line of lines) {
      t.notMatch(line, SECRET, sentence)
      t.notMatch(line, TOKEN, sentence)
      t.match(line, '[hidden]', sentence)
    }
  }
})

await test('a message and an error alone are cleaned too', async (t) => {
  const lines = written((log) => {
    log.info(`calling with Bearer ${SECRET}`)
    log.error(new Carrier(`refused Bearer ${SECRET}`))
    log.error({ err: new Carrier(`refused Bearer ${SECRET}`) })
    log.info('with %s', `Bearer ${SECRET}`)
    log.info({ plain: 'fields' })
  })
  t.match(
    lines.map((line) => JSON.parse(line).msg),
    ['calling with [hidden]', 'refused [hidden]', 'refused [hidden]', 'with [hidden]', undefined],
  )
  for (const line of lines) t.notMatch(line, SECRET)
})

await test('what is not secret is shown whole', async (t) => {
  const [line = ''] = written((log) =>
    log.child({ role: 'controller' }).warn(
      {
        request: 'shared/git-1',
        objects: [{ kind: 'ConfigMap', data: { rules: 'x' } }],
        secretName: 'named',
        count: 3,
        nothing: null,
        error: 'plain text',
        err: new CodedError('KUBE_CONFLICT', 'it exists', { cause: new Error('below') }),
      },
      'said so',
    ),
  )
  const { time, err, ...rest } = JSON.parse(line)
  t.match(time, /^\d{4}-\d\d-\d\dT.*Z$/)
  t.match(err, { type: 'CodedError', code: 'KUBE_CONFLICT', message: 'it exists', stack: /log\.test/, cause: { type: 'Error', message: 'below' } })
  t.strictSame(rest, {
    level: 'warn',
    role: 'controller',
    request: 'shared/git-1',
    objects: [{ kind: 'ConfigMap', data: { rules: 'x' } }],
    secretName: 'named',
    count: 3,
    nothing: null,
    error: 'plain text',
    msg: 'said so',
  })
})

await test('a circle and an endless depth do no harm', async (t) => {
  const circle: Record<string, unknown> = { name: 'a' }
  circle['self'] = circle
  const lines = written((log) => log.info({ circle }, 'round'))
  t.match(lines[0], /\[too deep\].*"msg":"round"/)
})

await test('a level that is not asked for writes nothing', async (t) => {
  t.same(written((log) => log.debug({ a: 1 }, 'no')), [])
})

/** A program that logs to its standard output; what comes of it, and the code it ends with. */
const program = (code: string): ReturnType<typeof spawn> => {
  const log = new URL('../src/log.ts', import.meta.url).href
  return spawn(process.execPath, ['--input-type=module', '--eval', `import { createLogger } from ${JSON.stringify(log)}; const log = createLogger({ level: 'info' }); ${code}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
    // Without what the test runner gives to programs of its own.
    env: { PATH: process.env['PATH'] },
  })
}

const MANY = 2_000
const ENDINGS: Record<string, { code: string; exit: number; messages: number }> = {
  'that has nothing more to do': { code: `log.info('1'); setTimeout(() => log.info('2'), 30)`, exit: 0, messages: 2 },
  'that says that it ends': { code: `log.info('1'); log.info('2'); process.exit(3)`, exit: 3, messages: 2 },
  'that says so while a line is on its way': { code: `log.info('1'); setTimeout(() => { log.info('2'); process.exit(3) }, 25)`, exit: 3, messages: 2 },
  'that fails': { code: `log.info('1'); throw new Error('nobody catches it')`, exit: 1, messages: 1 },
  'that logs far more than is written at once': { code: `for (let index = 1; index <= ${MANY}; index += 1) log.info(String(index)); process.exit(0)`, exit: 0, messages: MANY },
}

await test('standard output has every line, in order, of a program', async (t) => {
  for (const [sentence, { code, exit, messages }] of Object.entries(ENDINGS)) {
    const running = program(code)
    if (running.stdout === null) throw new Error('there is no output')
    const [output, [status]] = await Promise.all([text(running.stdout), once(running, 'exit')])
    const said = output.split('\n').flatMap((line): unknown[] => (line === '' ? [] : [JSON.parse(line).msg]))
    t.strictSame({ status, said }, { status: exit, said: Array.from({ length: messages }, (_, index) => String(index + 1)) }, sentence)
  }
})

await test('a program whose output nobody takes any more ends all the same', async (t) => {
  const running = program(`log.info('1'); setInterval(() => { log.info('2') }, 5); setTimeout(() => { log.info('3'); process.exit(3) }, 300)`)
  running.stdout?.once('data', () => running.stdout?.destroy())
  const [status] = await once(running, 'exit')
  t.equal(status, 3)
})
