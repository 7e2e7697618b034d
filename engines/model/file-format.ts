import { ModelError } from './errors.js'
import { FileReader } from './file-reader.js'

export type ModelFileFormat = 'gguf' | 'safetensors'

/** Where a zip archive made by torch.save names its members: in the first local header or in the directory at the end. */
const ZIP_PROBE_BYTES = 65_536

/**
 * What a weight file is, by its bytes and never by its suffix. A pickle (bare, or inside PyTorch's zip) can run code when it is
 * unpickled and is refused. Throws ModelError pickle_refused, not_a_model.
 */
export function detectFormat(path: string): ModelFileFormat {
  const file = new FileReader(path)
  try {
    const head = file.read(0, Math.min(16, file.size), 'first bytes')
    if (startsWith(head, 'GGUF')) return 'gguf'
    if (looksLikeSafetensors(head)) return 'safetensors'
    if (isPickle(head) || isPickleArchive(file, head)) throw pickleRefused(path)
    throw notAModel(path, head)
  } finally {
    file.close()
  }
}

/** A header length below 2^32 followed by '{'. A file too short for that is no model. */
function looksLikeSafetensors(head: Uint8Array): boolean {
  return head.length > 8 && head[8] === 0x7b && head.subarray(4, 8).every((byte) => byte === 0)
}

/** Protocol 2 and later open with PROTO (0x80) and their number; protocols 0 and 1 of torch.save are no longer written. */
function isPickle(head: Uint8Array): boolean {
  return head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5
}

function isPickleArchive(file: FileReader, head: Uint8Array): boolean {
  if (!startsWith(head, 'PK\u0003\u0004')) return false
  const probe = Math.min(ZIP_PROBE_BYTES, file.size)
  const parts = [file.read(0, probe, 'archive'), file.read(file.size - probe, probe, 'archive')]
  return parts.some((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength).includes('.pkl'))
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return bytes.length >= text.length && [...text].every((char, i) => bytes[i] === char.charCodeAt(0))
}

function pickleRefused(path: string): ModelError {
  return new ModelError(
    'pickle_refused',
    `${path} is a Python pickle, which can run code when it is read`,
    null,
    'take the safetensors files of the same model',
  )
}

function notAModel(path: string, head: Uint8Array): ModelError {
  const shown = Buffer.from(head.subarray(0, 8)).toString('hex')
  return new ModelError(
    'not_a_model',
    `${path} is neither safetensors nor GGUF (it begins with ${shown || 'nothing'})`,
    null,
    startsWith(head, 'version')
      ? 'this is a Git LFS pointer: fetch the file itself'
      : 'give a .gguf file or a directory',
  )
}
