import type { Usage } from './frame.js'
import { spreadTokens } from './token-log.js'

/** Token counts of one stream by source. */
export interface StreamCounts {
  usage: Usage | null
  /** Token ids that came. */
  ids: number
  /** Tokens of frames that said how many they carry, and frames that did not. */
  known: number
  unknownFrames: number
  frames: number
  /** max_tokens. */
  asked: number
}

/**
 * The ladder: ids, then usage, then frames. `spread` gives tokens per read where only their sum is known. Usage one above the frames is an end token
 * that was never shown; more above is several tokens a frame.
 */
export function settleCounts(
  counts: StreamCounts,
  readFrames: Uint32Array,
): { counted: number; spread: Uint32Array | null } {
  const usage = counts.usage?.completionTokens ?? null
  if (counts.ids > 0) return { counted: counts.ids, spread: null }
  if (usage === null || usage <= 0) return { counted: counts.known + counts.unknownFrames, spread: null }
  const hidden = usage - counts.frames
  if (counts.unknownFrames === 0 || hidden === 0 || hidden === 1) return { counted: usage, spread: null }
  return { counted: usage, spread: spreadTokens(readFrames, usage) }
}

/** Counts that cannot be: more than asked, none for a stream of tokens, fewer than the ids or frames that came. Null: they can. */
export function impossibleUsage(counts: StreamCounts): string | null {
  const completion = counts.usage?.completionTokens ?? null
  const prompt = counts.usage?.promptTokens ?? null
  if (prompt !== null && (!Number.isInteger(prompt) || prompt < 1)) return `prompt_tokens ${prompt}`
  if (completion === null) return null
  if (!Number.isInteger(completion) || completion < 0) return `completion_tokens ${completion}`
  if (completion > counts.asked) return `completion_tokens ${completion}, but max_tokens was ${counts.asked}`
  if (counts.ids > completion) return `completion_tokens ${completion}, but ${counts.ids} token ids came`
  if (completion === 0 && counts.frames > 0) return `completion_tokens 0, but ${counts.frames} frames with tokens came`
  // A detokeniser may flush a held-back tail in a frame of its own: one frame more is no lie.
  if (counts.frames > completion + 1)
    return `completion_tokens ${completion}, but ${counts.frames} frames with tokens came`
  return null
}
