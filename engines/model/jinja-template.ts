import { createContext, Script } from 'node:vm'
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import { ModelError } from './errors.js'

export const MAX_TEMPLATE_CHARACTERS = 262_144
export const MAX_RENDERED_CHARACTERS = 8 * 2 ** 20
export const RENDER_LIMIT_MS = 1_000
/** Jinja's own sandbox has the same bound on range(). */
const MAX_RANGE = 100_000

/**
 * A chat template comes with the model, so it is a stranger's program. It sees only the variables given to it; its length, its
 * output, its ranges and its time are bounded, and past the time limit V8 stops it (node:vm interrupts the call, whoever's code runs).
 */
export class JinjaTemplate {
  readonly #program: ReturnType<typeof parse>

  /** Throws ModelError template_failed: too long, or not Jinja. */
  constructor(source: string) {
    if (source.length > MAX_TEMPLATE_CHARACTERS) {
      throw failed(`it has ${source.length} characters, at most ${MAX_TEMPLATE_CHARACTERS}`)
    }
    this.#program = within(() => parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true })))
  }

  /** Throws ModelError template_failed. `variables` must be plain data. */
  render(variables: Record<string, unknown>): string {
    const text = within(() => {
      const environment = new Environment()
      for (const [name, value] of Object.entries({ ...GLOBALS, ...variables })) environment.set(name, value)
      return String(new Interpreter(environment).run(this.#program).value)
    })
    if (text.length > MAX_RENDERED_CHARACTERS) throw failed(`it wrote ${text.length} characters`)
    return text
  }
}

/** Transformers' additions to Jinja (chat_template_utils.py), and the literals. */
const GLOBALS: Readonly<Record<string, unknown>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range: boundedRange,
  strftime_now: (format: string) => formatDate(format, new Date()),
  raise_exception: (message: string) => {
    throw new Error(String(message))
  },
}

const CONTEXT = createContext(Object.create(null))
const CALL = new Script('call()')

/** Runs `work` to its end or to the time limit. */
function within<T>(work: () => T): T {
  let result: { value: T } | null = null
  CONTEXT['call'] = () => {
    result = { value: work() }
  }
  try {
    CALL.runInContext(CONTEXT, { timeout: RENDER_LIMIT_MS })
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw failed(code === 'ERR_SCRIPT_EXECUTION_TIMEOUT' ? `it ran longer than ${RENDER_LIMIT_MS} ms` : message, cause)
  } finally {
    CONTEXT['call'] = undefined
  }
  return (result as { value: T } | null)!.value
}

function boundedRange(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second]
  const length = Math.max(0, Math.ceil((stop - start) / step))
  if (!(length <= MAX_RANGE)) throw new Error(`range() of ${length} numbers`)
  return Array.from({ length }, (_, i) => start + i * step)
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** The directives that published templates use. */
function formatDate(format: string, date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0')
  const parts: Record<string, string> = {
    '%Y': String(date.getFullYear()),
    '%m': two(date.getMonth() + 1),
    '%d': two(date.getDate()),
    '%b': MONTHS[date.getMonth()]!,
    '%B': date.toLocaleString('en', { month: 'long' }),
    '%A': date.toLocaleString('en', { weekday: 'long' }),
    '%H': two(date.getHours()),
    '%M': two(date.getMinutes()),
    '%S': two(date.getSeconds()),
  }
  return String(format).replace(/%[a-zA-Z]/g, (directive) => parts[directive] ?? directive)
}

function failed(what: string, cause?: unknown): ModelError {
  return new ModelError('template_failed', `chat template: ${what}`, 'chat_template', '', { cause })
}
