import { loadScenario, presetNames } from '../scenario/load.js'
import { canonicalRow, makePlan } from '../scenario/plan.js'

export function listScenarios(): void {
  const names = presetNames()
  const width = Math.max(...names.map((name) => name.length))
  for (const name of names) {
    const { description, origin } = loadScenario({ source: name })
    process.stdout.write(`${name.padEnd(width)}  ${description}${origin ? ` [${origin}]` : ''}\n`)
  }
}

export function checkScenario(source: string): void {
  process.stdout.write(`${JSON.stringify(loadScenario({ source }), null, 2)}\n`)
}

export async function expandScenario(source: string, vocabSize: number): Promise<void> {
  const plan = await makePlan(loadScenario({ source }), { vocabSize })
  process.stderr.write(`${plan.line}\nhash ${plan.hash}\n`)
  for (const row of plan.rows) process.stdout.write(`${canonicalRow(row)}\n`)
}
