/** An image of one static program, as an OCI layout in a tar archive. Pure: the same program is the same image. */
import { createHash } from 'node:crypto'

export interface ImageFacts {
  /** As Pods name it, tag included. */
  name: string
  /** The one file of the image, at `/<programName>`. */
  programName: string
  program: Uint8Array
  /** Go's name of the processor: amd64 or arm64. */
  architecture: string
  /** Arguments when a Pod gives none. */
  defaultArguments: readonly string[]
}

interface TarFile {
  path: string
  content: Uint8Array
  mode: number
}

const BLOCK = 512

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`

/** One ustar header. Owner and time are 0. @param path at most 100 characters of ASCII */
const header = ({ path, content, mode }: TarFile): Buffer => {
  const block = Buffer.alloc(BLOCK)
  block.write(path, 0, 100, 'ascii')
  block.write(octal(mode, 8), 100)
  block.write(octal(0, 8), 108)
  block.write(octal(0, 8), 116)
  block.write(octal(content.length, 12), 124)
  block.write(octal(0, 12), 136)
  // The sum is taken over the header with blanks in its own place.
  block.write(' '.repeat(8), 148)
  block.write('0', 156)
  block.write('ustar', 257)
  block.write('00', 263)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

const tar = (files: readonly TarFile[]): Buffer => {
  const parts = files.flatMap((file) => [header(file), file.content, Buffer.alloc((BLOCK - (file.content.length % BLOCK)) % BLOCK)])
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)])
}

const sha256 = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex')

interface Blob {
  content: Buffer
  descriptor: { mediaType: string; digest: string; size: number }
}

const blob = (mediaType: string, content: Buffer): Blob => ({
  content,
  descriptor: { mediaType, digest: `sha256:${sha256(content)}`, size: content.length },
})

const json = (value: object): Buffer => Buffer.from(JSON.stringify(value))

const FILE_MODE = 0o644

/** @returns the archive that `ctr images import` reads */
export const packImage = ({ name, programName, program, architecture, defaultArguments }: ImageFacts): Buffer => {
  const layer = blob('application/vnd.oci.image.layer.v1.tar', tar([{ path: programName, content: program, mode: 0o755 }]))
  const config = blob(
    'application/vnd.oci.image.config.v1+json',
    json({
      architecture,
      os: 'linux',
      config: { Entrypoint: [`/${programName}`], Cmd: defaultArguments },
      rootfs: { type: 'layers', diff_ids: [layer.descriptor.digest] },
    }),
  )
  const manifest = blob(
    'application/vnd.oci.image.manifest.v1+json',
    json({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config: config.descriptor, layers: [layer.descriptor] }),
  )
  const index = json({
    schemaVersion: 2,
    manifests: [{ ...manifest.descriptor, annotations: { 'io.containerd.image.name': name }, platform: { architecture, os: 'linux' } }],
  })
  const blobs = [layer, config, manifest].map(({ content, descriptor }) => ({
    path: `blobs/${descriptor.digest.replace(':', '/')}`,
    content,
    mode: FILE_MODE,
  }))
  return tar([
    { path: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }), mode: FILE_MODE },
    { path: 'index.json', content: index, mode: FILE_MODE },
    ...blobs,
  ])
}
