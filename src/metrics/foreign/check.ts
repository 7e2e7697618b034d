import type { Tool, ToolColumn, ToolStats } from '../../result/schema.js'

/** Decimals of a console figure of the tool: half of the last one is its rounding. */
const DECIMALS: Record<Tool, number> = { 'vllm bench serve': 2, guidellm: 1, aiperf: 2 }

/** One figure of a tool's result beside ours by its definition. */
export interface CheckedFigure {
  name: string
  theirs: number
  ours: number
  /** ours / theirs - 1; 0 when both are 0. */
  relative: number
  /** |ours - theirs| is at most half of the last decimal that the tool prints. */
  withinRounding: boolean
}

/** Every figure that both columns have, in the order of a report. */
export function checkFigures(theirs: ToolColumn, ours: ToolColumn): CheckedFigure[] {
  const rounding = 0.5 * 10 ** -DECIMALS[theirs.tool]
  const mine = new Map(figuresOf(ours))
  return figuresOf(theirs).flatMap(([name, value]) => {
    const own = mine.get(name)
    if (own === undefined) return []
    const relative = own === value ? 0 : own / value - 1
    return [{ name, theirs: value, ours: own, relative, withinRounding: Math.abs(own - value) <= rounding }]
  })
}

/** 'TTFT mean' to 'total tok/s'; what is null is left out. */
export function figuresOf(column: ToolColumn): [name: string, value: number][] {
  const stats = (name: string, found: ToolStats | null): [string, number | null | undefined][] =>
    (['mean', 'p50', 'p90', 'p99'] as const).map((part) => [`${name} ${part}`, found?.[part]])
  const all = [
    ...stats('TTFT', column.ttftMs),
    ...stats('TPOT', column.tpotMs),
    ...stats('ITL', column.itlMs),
    ...stats('e2e', column.e2eMs),
    ['output tok/s', column.outputTokensPerSecond] as const,
    ['requests/s', column.requestsPerSecond] as const,
    ['total tok/s', column.totalTokensPerSecond] as const,
  ]
  return all.flatMap(([name, value]): [string, number][] => (value == null ? [] : [[name, value]]))
}
