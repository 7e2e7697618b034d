#!/usr/bin/env node
import { runModelCommand } from './command.js'
import { resolveContext } from './resolve-context.js'

/** `bench model`: a process of its own. stdout carries the result, stderr progress and errors. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error // a reader such as `head` may leave early
})
process.exitCode = await runModelCommand(process.argv.slice(2), {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
  context: resolveContext(),
})
