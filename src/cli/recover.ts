import { recoverRun } from '../result/recover.js'

/** `bench recover`: marks a killed run partial and says what survived. Exit 3: a partial result is no success. */
export async function recoverCommand(directory: string): Promise<number> {
  const recovery = recoverRun(directory)
  process.stdout.write(`${JSON.stringify(recovery, null, 2)}\n`)
  const { reportCommand } = await import('./report.js')
  await reportCommand([directory], { format: 'html' })
  return 3
}
