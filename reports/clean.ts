/**
 * Text from a server, a file or a name, made harmless for the place it is printed in. Everything that comes from outside this
 * process is hostile: it may carry terminal escapes, markup, formulas or characters that reorder what stands beside them.
 */

// ECMA-48 control sequences (CSI ... final byte; OSC, DCS, PM, APC ... up to BEL or ST), in their 7-bit and 8-bit forms.
const ESCAPES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal escapes are made of control characters
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g
// Controls, and format characters: direction overrides (Trojan Source, CVE-2021-42574), zero-width and tag characters.
const CONTROLS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** One printable line, at most `limit` characters. */
export function cleanLine(text: string, limit = 300): string {
  const line = text
    .slice(0, limit * 8)
    .replace(ESCAPES, '')
    .replace(CONTROLS, ' ')
    .replace(/ {2,}/g, ' ')
    .trim()
  const characters = [...line]
  return characters.length <= limit ? line : `${characters.slice(0, limit - 1).join('')}…`
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** For HTML text and quoted attributes, and for XML. */
export function escapeHtml(text: string): string {
  return cleanLine(text, 4000).replace(/[&<>"']/g, (character) => ENTITIES[character]!)
}

/** For a table cell or a sentence of GitHub Markdown: no markup, no link, no mention, no cell border. */
export function escapeMarkdown(text: string): string {
  return cleanLine(text, 1000)
    .replace(/[\\`*_{}[\]()#+!|~>]/g, '\\$&')
    .replace(/[&<]/g, (character) => ENTITIES[character]!)
    .replace(/@(?=\w)/g, '@\u2060')
    .replace(/:\/\//g, ':\u2060//')
}

/** For one cell of CSV (RFC 4180): quoted where needed, and never a formula for a spreadsheet. */
export function escapeCsv(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** JSON for a <script type="application/json"> element: nothing in it can end the element or start a comment. */
export function jsonForHtml(value: unknown): string {
  return JSON.stringify(value).replace(/[<>&\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  })
}
