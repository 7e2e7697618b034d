import type { Failure } from '../failure.js'
import type { ScenarioForm } from './schema.js'
import type { Distribution } from './types.js'

type DistributionForm = NonNullable<ScenarioForm['workload']['input']>

/** Makes the error of a place in the scenario file. */
export type Fail = (path: (string | number)[], message: string) => Failure

const NO_MAX = 1_000_000

/** A distribution with its defaults filled in: cv 0.5, no draw below `floor`. Throws `inverted()` when max is below min. */
export function buildDistribution(form: DistributionForm, floor: number, inverted: () => Failure): Distribution {
  if (form.dist === 'fixed') return { dist: 'fixed', value: Math.max(floor, form.value) }
  const min = Math.max(floor, form.min ?? floor)
  const max = form.max ?? NO_MAX
  if (max < min) throw inverted()
  if (form.dist === 'uniform') return { dist: 'uniform', min, max }
  if (form.dist === 'exponential') return { dist: 'exponential', mean: form.mean, min, max }
  const sd = form.sd ?? form.mean * (form.cv ?? 0.5)
  if (form.dist === 'normal') return { dist: 'normal', mean: form.mean, sd, min, max }
  return { dist: 'lognormal', mean: form.mean, cv: sd / form.mean, min, max }
}
