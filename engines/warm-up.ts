import type { StepExecutor } from './executor.js'
import { addRow, clearPlan, createStepPlan, DUMMY_SLOT, type PlanLimits } from './plan.js'

/**
 * Step sizes, in tokens, that between them reach every choice of kernel kn_matmul makes on CUDA: it chooses once per bucket of rows,
 * 8 wide to 256, 64 wide to 512, then powers of two (kernels/matmul.cu, bucket()).
 */
export function warmUpSizes(maxTokens: number): number[] {
  const tops: number[] = []
  for (let top = 8; top <= 256; top += 8) tops.push(top)
  for (let top = 320; top <= 512; top += 64) tops.push(top)
  for (let top = 1024; top < 2 * maxTokens; top *= 2) tops.push(top)
  const within = tops.filter((top) => top < maxTokens)
  return [...within, maxTokens]
}

/**
 * Runs one eager step of dummy rows of every size, so that no request waits for a kernel to be chosen: a choice takes tens of ms.
 * `maxSamples`: rows of a step that may sample. Needs the cache to be open.
 */
export function warmUp(
  executor: StepExecutor,
  { limits, maxSamples, maxModelLen }: { limits: PlanLimits; maxSamples: number; maxModelLen: number },
  progress: (line: string) => void,
): void {
  const sizes = warmUpSizes(limits.maxTokens)
  const plan = createStepPlan(limits)
  progress(`choosing kernels for steps of ${sizes.length} sizes up to ${limits.maxTokens} tokens`)
  for (const tokens of sizes) {
    clearPlan(plan)
    const rows = Math.min(limits.maxRows, tokens)
    for (let row = 0, left = tokens; row < rows; row++) {
      const count = Math.min(maxModelLen, Math.ceil(left / (rows - row)))
      addRow(plan, null, DUMMY_SLOT, 0, count, row < maxSamples, false)
      left -= count
    }
    executor.launch(plan)
    executor.read()
  }
}
