import { Command, CommanderError, Option } from 'commander'
import pc from 'picocolors'
import type { CalibrateOptions } from './cli/calibrate.js'
import { diagnose, renderFindings } from './cli/doctor.js'
import { engineOptions } from './cli/engine-flags.js'
import { explainCommand } from './cli/explain.js'
import { kernelsCommand } from './cli/kernels.js'
import { runForeground } from './cli/process.js'
import { Failure } from './failure.js'
import { presetNames } from './scenario/load.js'
import { benchVersion } from './telemetry/environment.js'

/** The command tree. Each command's work is in cli/<command>.ts, loaded when it is asked for. */
const program = new Command('bench')
  .description(
    'Benchmarks LLM serving: our static and paged engines and any OpenAI-compatible server under one planned load.',
  )
  .version(benchVersion())
  .option('--debug', 'print stacks with errors')
  .option('--no-color', 'plain text')
  .showHelpAfterError('(bench COMMAND --help explains each flag)')
  .exitOverride()

const run = program
  .command('run')
  .description(
    'load every target with the same plan, compare them, write results/<id>/ with report.html; exit 0 VALID, 2 usage, 3 INVALID or failed, 5 NO-STEADY-STATE, 130 Ctrl-C',
  )
  .argument(
    '[scenario]',
    `a scenario file or preset: ${presetNames().join(', ')} (default: chat on a GPU, chat-cpu without)`,
  )
  .option(
    '-t, --target <spec...>',
    "what to measure: static, static-generous, paged, a base URL ending in /v1, name=URL, or 'name=paged --enforce-eager' (default: static paged)",
  )
  .option('-m, --model <name>', 'preset, Hugging Face directory, .gguf file or hf:org/name, for the built-in engines')
  .helpGroup('Load:')
run
  .option('-c, --concurrency <n>', 'closed loop with n requests in flight', positiveInteger)
  .option(
    '--stagger <ms>',
    'the first n start over this long (default: 0.5 ms each, 25 at most; 0: at once)',
    nonNegative,
  )
  .option('-r, --rate <rps>', 'open loop at this many requests/s (alias --request-rate)', positiveNumber)
  .addOption(new Option('--request-rate <rps>', 'as --rate').argParser(positiveNumber).hideHelp())
  .addOption(new Option('--arrivals <process>', 'of the open loop').choices(['poisson', 'constant', 'gamma']))
  .option('--burstiness <k>', 'shape of the gamma arrivals: 1 is Poisson, below it burstier', positiveNumber)
  .addOption(
    new Option('--drops <policy>', 'arrivals refused at load.cap: part of the measurement, or a fault').choices([
      'allowed',
      'forbidden',
    ]),
  )
  .option('--stop-when-growing', 'open loop: end a block early once requests in flight surely keep growing')
  .option('-n, --requests <n>', 'measured requests, or 10x for 10 x concurrency (alias --num-prompts)')
  .addOption(new Option('--num-prompts <n>', 'as --requests').hideHelp())
  .option('--warmup <n>', 'warm-up requests, or 2x')
  .option('--duration <secs>', 'send nothing after this many seconds of the measured phase', positiveNumber)
  .option('--input-len <tokens>', 'every prompt this long', positiveInteger)
  .option('--output-len <tokens>', 'every answer this long', positiveInteger)
  .option('--repeats <n>', 'blocks per target, in ABBA order', positiveInteger)
  .addOption(new Option('--prompt <kind>', 'send token ids, or text').choices(['ids', 'text']))
  .addOption(new Option('--api <route>', 'route of external targets').choices(['completions', 'chat']))
  .addOption(
    new Option('--cache <policy>', 'prefix-cache policy, verified').choices(['cold', 'shared', 'warm', 'as-is']),
  )
  .option('--plan-seed <n>', 'seed of arrivals, lengths and content', wholeNumber)
  .option('--temperature <t>', '0 is greedy', nonNegative)
  .option('--slo <preset>', 'objectives for goodput, e.g. llama3.1-8b')
  .option('--request-timeout <secs>', 'deadline of one request', positiveNumber)
  .option('--load-workers <n>', 'client threads', positiveInteger)
  .option('--api-key-env <name>', 'environment variable with the key of external targets', 'BENCH_API_KEY')
  .helpGroup('Output:')
  .option('-o, --out <dir>', 'folder of the run (default: results/<time>-<scenario>)')
  .option('--json', 'print the summary as JSON')
  .option('--markdown', 'print the comparison as Markdown')
  .option('--junit <file>', 'write a JUnit file')
  .option('--keep-output', 'store the token ids of every answer and compare them (default for built-in pairs)')
  .option('--export-plan <file>', 'write the plan as JSON lines')
  .option('--dry-run', 'show plan, order and expected time; run nothing')
  .option('--no-ceilings', 'do not measure the machine’s ceilings first')
  .option('--no-calibrate', 'do not measure first what the client itself adds: the run cannot be VALID')
  .option('--no-cache-probe', 'do not probe the prefix cache of servers that report no cached tokens')
  .option(
    '--request-ceiling [secs]',
    'measure too how many whole, non-streamed requests/s each target passes',
    positiveNumber,
  )
  .option('--details', 'print where TTFT went, percentiles, other tools’ figures and the engine’s own time too')
  .option('--ascii', 'plain borders and dashes')
  .option('-q, --quiet', 'no progress')
for (const option of engineOptions()) run.addOption(option)
run.action(async (scenario: string | undefined, options: Record<string, unknown>) => {
  const { runCommand } = await import('./cli/run.js')
  process.exitCode = await runCommand(scenario ?? null, { ...options, ...globalOptions() })
})

program
  .command('serve')
  .description(
    'one built-in engine in the foreground: an OpenAI-compatible server (bench serve --help lists its flags)',
  )
  .helpOption(false)
  .allowUnknownOption()
  .argument('[flags...]')
  .action(async () => {
    process.exitCode = await runForeground('engine', argumentsAfter('serve'))
  })

program
  .command('model')
  .description('pull, list or show models (bench model --help)')
  .helpOption(false)
  .allowUnknownOption()
  .argument('[arguments...]')
  .action(async () => {
    process.exitCode = await runForeground('model', argumentsAfter('model'))
  })

program
  .command('compare')
  .description('base against head: verdict with intervals; exit 0 ok, 4 incomparable, 10 regression, 11 inconclusive')
  .argument('<base>', 'folder of a run')
  .argument('<head>', 'folder of a run')
  .option('--target <name>', 'only this target')
  .option('--force', 'compare although plan or machine differ')
  .addOption(
    new Option('--inconclusive <how>', 'exit code of an inconclusive result').choices(['pass', 'fail']).default('fail'),
  )
  .addOption(new Option('--format <form>').choices(['table', 'json', 'markdown', 'junit']).default('table'))
  .action(async (base: string, head: string, options: Record<string, unknown>) => {
    const { compareCommand } = await import('./cli/compare.js')
    process.exitCode = compareCommand(base, head, options)
  })

program
  .command('report')
  .description('render report.html and report.md again from the stored raw records')
  .argument('<runs...>', 'folders of runs')
  .option('--format <form>', 'html, markdown, junit, table or json (default: html; with --details table)')
  .option('-o, --out <file>', 'where to write it (default: in the run’s folder)')
  .addOption(
    new Option('--report-data <what>', 'raw data inside the page').choices(['auto', 'summary', 'requests', 'tokens']),
  )
  .option('--include-text', 'prompts and answers inside the page')
  .option(
    '--details',
    'as a table, with where TTFT went, other tools’ figures, device means, the engine’s own time per step',
  )
  .option('--ascii', 'plain borders and dashes')
  .action(async (runs: string[], options: Record<string, unknown>) => {
    const { reportCommand } = await import('./cli/report.js')
    await reportCommand(runs, options)
  })

program
  .command('import')
  .description(
    'set a result of vllm bench serve, guidellm or aiperf, or a peer of test/peers, beside a run in its report',
  )
  .argument('<file>', 'the result file that the tool wrote')
  .requiredOption('--into <dir>', 'folder of the run')
  .action(async (file: string, options: { into: string }) => {
    const { importCommand } = await import('./cli/import.js')
    await importCommand(file, options.into)
  })

program
  .command('compat')
  .description('a run as vllm bench serve, guidellm and aiperf would have reported it')
  .argument('<run>', 'folder of a run')
  .option('--target <name>', 'of the run (default: the first)')
  .option(
    '--with <file>',
    'a result file of one of those tools: set beside its column, and checked from its own events',
  )
  .action(async (directory: string, options: { target?: string; with?: string }) => {
    const { compatCommand } = await import('./cli/compat.js')
    compatCommand(directory, options)
  })

program
  .command('recover')
  .description('make a readable result of a run that was killed')
  .argument('<run>', 'folder of the run')
  .action(async (directory: string) => {
    const { recoverCommand } = await import('./cli/recover.js')
    process.exitCode = await recoverCommand(directory)
  })

program
  .command('kernels')
  .description('time every operation alone: GB/s, TFLOP/s, share of this machine’s measured ceiling')
  .option('--backend <name>', 'cpu or cuda')
  .option('--model <preset>', 'shapes of this preset')
  .option('--json', 'as JSON')
  .action(kernelsCommand)

program
  .command('calibrate')
  .description(
    'what the client itself adds to TTFT and ITL, against a server with a known schedule; kept for bench run (BENCH_CALIBRATION names the file)',
  )
  .option('-c, --concurrency <n>', 'streams at once', positiveInteger, 16)
  .option('--target <url>', 'also how many whole, non-streamed requests/s this server passes')
  .option('--request-ceiling <secs>', 'how long each is driven with such requests', positiveNumber, 3)
  .option('--api-key-env <name>', 'environment variable with the key of the target', 'BENCH_API_KEY')
  .option('--json', 'as JSON')
  .action(async (options: CalibrateOptions) => {
    const { calibrateCommand } = await import('./cli/calibrate.js')
    await calibrateCommand(options)
  })

program
  .command('doctor')
  .description('what is here, what is missing, and the fix for each')
  .option('--target <url>', 'also look at a server')
  .option('--json', 'as JSON')
  .action(async (options: { target?: string; json?: boolean }) => {
    const findings = await diagnose(options.target ?? null)
    process.stdout.write(options.json ? `${JSON.stringify(findings, null, 2)}\n` : `${renderFindings(findings)}\n`)
    if (findings.some((finding) => finding.state === 'FAIL')) process.exitCode = 3
  })

const scenario = program.command('scenario').description('list, check or expand scenarios')
scenario
  .command('list')
  .description('the shipped presets')
  .action(async () => (await import('./cli/scenario.js')).listScenarios())
scenario
  .command('check')
  .description('parse a scenario and print it with every default filled in')
  .argument('<scenario>')
  .action(async (source: string) => (await import('./cli/scenario.js')).checkScenario(source))
scenario
  .command('expand')
  .description('print the plan, one request a line')
  .argument('<scenario>')
  .option('--vocab <n>', 'vocabulary size', positiveInteger, 32000)
  .action(async (source: string, options: { vocab: number }) =>
    (await import('./cli/scenario.js')).expandScenario(source, options.vocab),
  )

program.command('explain').description('how a metric is defined here').argument('[metric]').action(explainCommand)

main()

async function main(): Promise<void> {
  if (process.argv.length <= 2) {
    process.stderr.write(program.helpInformation())
    process.exitCode = 2
    return
  }
  try {
    await program.parseAsync(process.argv)
  } catch (error) {
    process.exitCode = report(error)
  }
}

/** Prints an error for a person and gives its exit code; never 1. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const paint = pc.createColors(process.stderr.isTTY && !process.env['NO_COLOR'] && globalOptions().color !== false)
  if (error instanceof Failure) {
    process.stderr.write(`${paint.red('error')} ${error.message} [${error.code}]\n`)
    if (error.fix) process.stderr.write(`${paint.bold('  fix')} ${error.fix}\n`)
    if (globalOptions().debug) process.stderr.write(`${error.stack}\n`)
    return error.exitCode
  }
  process.stderr.write(
    `${paint.red('bug')} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  )
  return 3
}

function globalOptions(): { debug?: boolean; color?: boolean } {
  return program.opts()
}

/** Everything after the command's name, untouched: another process parses it. */
function argumentsAfter(command: string): string[] {
  return process.argv.slice(process.argv.indexOf(command) + 1)
}

function positiveInteger(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new Failure('usage', `'${text}' is not a whole number above 0`)
  return value
}
function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0) throw new Failure('usage', `'${text}' is not a whole number`)
  return value
}
function positiveNumber(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new Failure('usage', `'${text}' is not a number above 0`)
  return value
}
function nonNegative(text: string): number {
  const value = Number(text)
  if (!(value >= 0)) throw new Failure('usage', `'${text}' is not a number of at least 0`)
  return value
}
