import { z } from 'zod'
import { Failure, nearest } from '../failure.js'
import { buildScenario } from './build.js'
import { type ScenarioForm, scenarioForm, widen } from './schema.js'
import type { Scenario } from './types.js'
import { parseYaml, type SourceTree } from './yaml.js'

/**
 * Scenario text -> frozen Scenario. `amend` edits the validated form before it is built (command-line overrides).
 * Throws Failure 'unknown-key' (with the nearest name) or 'bad-scenario', each with file, line and column.
 */
export function parseScenario(text: string, file: string, amend: (form: ScenarioForm) => void = () => {}): Scenario {
  const tree = parseYaml(text, file)
  const parsed = scenarioForm.safeParse(widen(tree.value), { reportInput: true })
  if (!parsed.success) throw describe(parsed.error.issues, tree)
  amend(parsed.data)
  return deepFreeze(buildScenario(parsed.data, tree))
}

function describe(issues: readonly z.core.$ZodIssue[], tree: SourceTree): Failure {
  const unknown = issues.find((issue) => issue.code === 'unrecognized_keys')
  if (unknown !== undefined) return unknownKey(unknown, tree)
  const issue = issues[0]!
  const path = issue.path as (string | number)[]
  const name = path.length === 0 ? 'the scenario' : path.join('.')
  return new Failure('bad-scenario', `${tree.where(path)}: ${name}: ${issue.message}`, 'bench scenario check FILE')
}

function unknownKey(issue: z.core.$ZodIssueUnrecognizedKeys, tree: SourceTree): Failure {
  const path = issue.path as (string | number)[]
  const key = issue.keys[0]!
  const known = keysAt(scenarioForm, path)
  const guess = nearest(key, known)
  const inside = path.length === 0 ? '' : ` in ${path.join('.')}`
  const hint = guess === null ? `known keys${inside}: ${known.join(', ')}` : `did you mean '${guess}'?`
  return new Failure('unknown-key', `${tree.where(path, key)}: unknown key '${key}'${inside}; ${hint}`)
}

/** The keys the schema knows at `path`. */
function keysAt(schema: unknown, path: readonly (string | number)[]): string[] {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodDiscriminatedUnion) {
    return [...new Set(inner.options.flatMap((option) => keysAt(option, path)))]
  }
  const [head, ...rest] = path
  if (head === undefined) return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
  if (inner instanceof z.ZodArray) return keysAt(inner.element, rest)
  if (inner instanceof z.ZodObject) return keysAt((inner.shape as Record<string, unknown>)[head], rest)
  return []
}

function unwrap(schema: unknown): unknown {
  return schema instanceof z.ZodOptional ? unwrap(schema.unwrap()) : schema
}

export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const child of Object.values(value)) deepFreeze(child)
  }
  return value
}
