import { Kernels } from '../../kernels/binding.js'
import { buildKernels } from '../../kernels/build.js'

/** The CPU backend, built when it is not there or out of date. */
export async function openCpuKernels(dtype: 'f32' | 'bf16'): Promise<Kernels> {
  const { cpu } = await buildKernels({ cuda: false, progress: () => {} })
  return new Kernels(cpu, { dtype, threads: 2 })
}
