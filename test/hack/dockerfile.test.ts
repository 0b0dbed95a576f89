import { cp, mkdir, readFile, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'tap'
import { bundle } from '../../hack/build/bundle.ts'
import { run } from '../../hack/control-plane/run.ts'
import { copiesOf, execForm, readDockerfile, ROOT, type Copy } from '../support/dockerfile.ts'
import { readManifests } from '../support/manifests.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const { args, stages } = await readDockerfile()
const [build, runtime, final] = stages
if (build === undefined || runtime === undefined || final === undefined) throw new Error('the Dockerfile has not three stages')

interface DeploymentSpec {
  template: { spec: { securityContext: { runAsUser: number; runAsGroup: number }; containers: { command?: string[]; args: string[] }[] } }
}
const deployments = (await readManifests('base')).filter(({ kind }) => kind === 'Deployment').map(({ spec }) => spec as DeploymentSpec)

/** What `COPY` does with sources of a folder: a folder's content goes into the target, more than one source needs a target that ends in "/". */
const copy = async (context: string, into: string, { sources, target }: Copy): Promise<void> => {
  for (const source of sources) {
    const isFolder = target.endsWith('/')
    const to = isFolder ? join(into, target, source) : join(into, target)
    await mkdir(dirname(to), { recursive: true })
    await cp(join(context, source), to, { recursive: true })
  }
}

await test('the base is Node 24 of a public library, and both bases can be replaced', async (t) => {
  t.strictSame(args, { NODE_IMAGE: 'node:24-slim', RUNTIME_IMAGE: 'runtime' })
  t.strictSame(stages.map(({ from, name }) => [from, name]), [['${NODE_IMAGE}', 'build'], ['${NODE_IMAGE}', 'runtime'], ['${RUNTIME_IMAGE}', '']])
})

await test('the build stage copies all that the build needs: from that alone comes the same bundle', async (t) => {
  const copies = copiesOf(build)
  t.strictSame(copies.filter(({ from }) => from !== undefined), [])
  const context = await temporaryFolder(t)
  for (const one of copies) await copy(ROOT, context, one)
  await symlink(join(ROOT, 'node_modules'), join(context, 'node_modules'))
  const made = await run(process.execPath, ['hack/build.ts'], { cwd: context })
  t.equal(made.code, 0, made.stderr)

  // Everything that is bundled, with the same way to the packages: the bundle holds paths.
  const whole = await temporaryFolder(t)
  for (const part of ['src', 'webhooks', 'package.json', 'tsconfig.json']) await cp(join(ROOT, part), join(whole, part), { recursive: true })
  await symlink(join(ROOT, 'node_modules'), join(whole, 'node_modules'))
  const { file } = await bundle({ root: whole, entry: 'src/main.ts', outDir: join(whole, 'dist'), name: 'access-gate' })
  t.ok((await readFile(join(context, 'dist/access-gate.js'))).equals(await readFile(file)), 'the bundle')
  for (const { sources } of copiesOf(final).filter(({ from }) => from === 'build'))
    for (const source of sources) t.ok((await readFile(join(context, source.replace(/^\/build\//, '')))).length > 0, source)
})

await test('npm install and build run as package.json names them', async (t) => {
  const { scripts }: { scripts: Record<string, string> } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
  const commands = build.instructions.filter(({ name }) => name === 'RUN').map(({ text }) => text)
  t.strictSame(commands, ['npm ci', 'npm run build'])
  t.equal(scripts['build'], 'exec node hack/build.ts')
})

await test('what is copied is not ignored, and everything else is', async (t) => {
  const lines = (await readFile(join(ROOT, '.dockerignore'), 'utf8')).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const copied = copiesOf(build).flatMap(({ sources }) => sources)
  t.equal(lines[0], '*')
  t.strictSame(lines.slice(1).toSorted(), copied.map((source) => `!${source}`).toSorted())
})

await test('the image holds the bundle and the licences, and nothing else of ours', async (t) => {
  t.strictSame(copiesOf(final), [
    { from: 'build', sources: ['/build/dist/access-gate.js'], target: '/access-gate/access-gate.mjs' },
    { from: 'build', sources: ['/build/dist/THIRD-PARTY-NOTICES.txt', '/build/LICENSE'], target: '/access-gate/' },
  ])
  t.strictSame(final.instructions.filter(({ name }) => name === 'RUN'), [], 'a base without a shell is enough')
})

await test('it runs as the user of the Deployments, who is not root', async (t) => {
  const users = final.instructions.filter(({ name }) => name === 'USER').map(({ text }) => text)
  t.equal(deployments.length, 2)
  for (const { template } of deployments) {
    const { runAsUser, runAsGroup } = template.spec.securityContext
    t.strictSame(users, [`${runAsUser}:${runAsGroup}`])
  }
})

await test('its entry point takes the role from the arguments of the Deployments', async (t) => {
  const entry = execForm(final, 'ENTRYPOINT')
  t.strictSame(entry, ['node', '/access-gate/access-gate.mjs'])
  t.strictSame(execForm(final, 'CMD'), ['--help'])
  // A `command` of a container would replace the entry point.
  const containers = deployments.flatMap(({ template }) => template.spec.containers)
  t.strictSame(containers.map(({ command, args: given }) => [command, given[0]]), [
    [undefined, 'webhook'],
    [undefined, 'controller'],
  ])
})
