import { join } from 'node:path'
import { test } from 'tap'
import { noticesText, packageFolders, readBundledPackage } from '../../../hack/build/notices.ts'

const inputs: Record<string, { inputs: string[]; folders: string[] }> = {
  'our own files belong to no package': { inputs: ['src/main.ts', 'package.json'], folders: [] },
  'a package counts once': { inputs: ['node_modules/yaml/a.js', 'node_modules/yaml/dist/b.js'], folders: ['node_modules/yaml'] },
  'a scope is part of the name': { inputs: ['node_modules/@noble/hashes/a.js'], folders: ['node_modules/@noble/hashes'] },
  'a nested package counts as itself': {
    inputs: ['node_modules/a/index.js', 'node_modules/a/node_modules/@s/b/lib/c.js'],
    folders: ['node_modules/a', 'node_modules/a/node_modules/@s/b'],
  },
  'packages may lie outside the checkout': { inputs: ['../node_modules/a/index.js'], folders: ['../node_modules/a'] },
}

for (const [sentence, { inputs: paths, folders }] of Object.entries(inputs)) {
  await test(sentence, async (t) => {
    t.strictSame(packageFolders(paths), folders)
  })
}

const manifest = (fields: object): string => JSON.stringify({ name: 'a', version: '1.0.0', ...fields })

const packages: Record<string, { files: Record<string, string>; read: object }> = {
  'licence and notice texts are read, whatever the case and the ending of their names': {
    files: { 'package.json': manifest({ license: 'MIT' }), 'license.md': ' text \n', NOTICE: 'notice', 'licenses.js': 'code', 'README.md': 'x' },
    read: { name: 'a', version: '1.0.0', licence: 'MIT', author: '', texts: [{ file: 'NOTICE', text: 'notice' }, { file: 'license.md', text: 'text' }] },
  },
  'the British spelling and a public domain text count too': {
    files: { 'package.json': manifest({ license: 'Unlicense' }), LICENCE: 'one', UNLICENSE: 'two' },
    read: { name: 'a', version: '1.0.0', licence: 'Unlicense', author: '', texts: [{ file: 'LICENCE', text: 'one' }, { file: 'UNLICENSE', text: 'two' }] },
  },
  'a licence field without a text is enough': {
    files: { 'package.json': manifest({ license: { type: 'ISC' }, author: { name: 'Someone' } }) },
    read: { name: 'a', version: '1.0.0', licence: 'ISC', author: 'Someone', texts: [] },
  },
  'a text without a licence field is enough': {
    files: { 'package.json': manifest({ author: 'Someone' }), 'LICENSE.txt': 'text' },
    read: { name: 'a', version: '1.0.0', licence: 'see the text below', author: 'Someone', texts: [{ file: 'LICENSE.txt', text: 'text' }] },
  },
}

for (const [sentence, { files, read }] of Object.entries(packages)) {
  await test(sentence, async (t) => {
    t.strictSame(await readBundledPackage(t.testdir(files)), read)
  })
}

await test('a package with neither cannot be bundled', async (t) => {
  const folder = t.testdir({ 'package.json': manifest({}), NOTICE: 'not a licence' })
  await t.rejects(readBundledPackage(folder), { message: 'a 1.0.0 has neither a licence file nor a licence field: it cannot be bundled' })
})

await test('a package without name and version cannot be bundled', async (t) => {
  const folder = t.testdir({ 'package.json': '{}' })
  await t.rejects(readBundledPackage(folder), { message: `${folder}/package.json has no name and version` })
})

await test('the file names each package once, in order, with its texts', async (t) => {
  const folder = t.testdir({
    b: { 'package.json': manifest({ name: 'b', license: 'MIT' }), LICENSE: 'text of b' },
    a: { 'package.json': manifest({ license: 'ISC', author: 'Someone' }) },
    again: { 'package.json': manifest({ name: 'b', license: 'MIT' }), LICENSE: 'text of b' },
  })
  const read = await Promise.all(['b', 'a', 'again'].map((name) => readBundledPackage(join(folder, name))))
  const rule = '='.repeat(80)
  t.equal(
    noticesText('program', read, '/*! comment */\n'),
    [
      'program contains the code of 2 packages, each under its own licence.',
      '',
      rule,
      'a 1.0.0',
      'Licence: ISC',
      '',
      'The package comes without a licence text. Its author is Someone.',
      '',
      rule,
      'b 1.0.0',
      'Licence: MIT',
      '',
      '--- LICENSE ---',
      '',
      'text of b',
      '',
      rule,
      'Legal comments in their code',
      '',
      '/*! comment */',
      '',
    ].join('\n'),
  )
})
