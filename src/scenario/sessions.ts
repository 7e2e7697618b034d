import { drawReal, drawWhole } from './lengths.js'
import { type IdRange, randomIds, type TextMaker } from './prompts.js'
import { RandomStream } from './random.js'
import type { RequestShape, Scenario } from './types.js'

/** One request before it has a place in the plan. */
export interface TurnDraft {
  inputTokens: number
  outputTokens: number
  prefixGroup: number | null
  thinkNs: number
  promptIds: number[] | null
  prompt: string | null
}

/** Requests that follow each other: one turn, or a conversation. */
export interface SessionDraft {
  turns: TurnDraft[]
  conversation: boolean
}

export interface ContentMakers {
  range: IdRange
  text: TextMaker | null
}

/**
 * The `index`-th session of a phase. Lengths come from seeds.lengths, content from seeds.content; each session has streams of its own, so that
 * the number of warm-up requests changes nothing in the measured phase.
 * A conversation's history holds planned answers, not the target's: every target gets the same bytes.
 */
export async function draftSession(
  scenario: Scenario,
  phase: 'warmup' | 'measure',
  index: number,
  makers: ContentMakers,
): Promise<SessionDraft> {
  const lengths = new RandomStream(scenario.seeds.lengths, phase, index)
  const content = new RandomStream(scenario.seeds.content, phase, index)
  const shape = pickShape(scenario.workload.shapes, lengths)
  const turnCount = shape.conversation === null ? 1 : drawWhole(shape.conversation.turns, lengths)
  const group = pickGroup(shape, content)
  const history = new PromptBuilder(scenario, makers, content)
  const turns: TurnDraft[] = []
  for (let turn = 0; turn < turnCount; turn++) {
    const input = drawWhole(shape.input, lengths)
    const outputTokens = drawWhole(shape.output, lengths)
    const thinkNs = turn === 0 ? 0 : Math.round(drawReal(shape.conversation!.thinkMs, lengths) * 1e6)
    if (turn === 0 && group !== null) await history.addPrefix(group, Math.min(shape.prefix!.tokens, input - 1))
    await history.addUntil(turn === 0 ? input : history.tokens + input)
    turns.push({ ...history.prompt(), outputTokens, prefixGroup: group, thinkNs })
    if (turn + 1 < turnCount) await history.addUntil(history.tokens + outputTokens)
  }
  return { turns, conversation: shape.conversation !== null }
}

function pickShape(shapes: readonly RequestShape[], random: RandomStream): RequestShape {
  let left = random.uniform() * shapes.reduce((sum, shape) => sum + shape.weight, 0)
  for (const shape of shapes) {
    left -= shape.weight
    if (left < 0) return shape
  }
  return shapes.at(-1)!
}

function pickGroup(shape: RequestShape, random: RandomStream): number | null {
  if (shape.prefix === null || random.uniform() >= shape.prefix.share) return null
  return random.integer(0, shape.prefix.groups)
}

/** A prompt that grows: ids, or text with its token count beside it. */
class PromptBuilder {
  tokens = 0
  readonly #ids: number[] = []
  readonly #parts: string[] = []

  constructor(
    readonly scenario: Scenario,
    readonly makers: ContentMakers,
    readonly random: RandomStream,
  ) {}

  async addPrefix(group: number, tokens: number): Promise<void> {
    await this.#add(tokens, new RandomStream(this.scenario.seeds.content, 'prefix', group))
  }

  async addUntil(total: number): Promise<void> {
    await this.#add(total - this.tokens, this.random)
  }

  prompt(): Pick<TurnDraft, 'inputTokens' | 'promptIds' | 'prompt'> {
    if (this.makers.text === null) return { inputTokens: this.tokens, promptIds: [...this.#ids], prompt: null }
    return { inputTokens: this.tokens, promptIds: null, prompt: this.#parts.join(' ') }
  }

  async #add(tokens: number, random: RandomStream): Promise<void> {
    if (tokens <= 0) return
    if (this.makers.text === null) {
      for (const id of randomIds(tokens, this.makers.range, random)) this.#ids.push(id)
    } else {
      this.#parts.push(await this.makers.text.make(tokens, random))
    }
    this.tokens += tokens
  }
}
