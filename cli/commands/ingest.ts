import { pathToFileURL } from 'node:url'
import { submitJob } from '@hivesync/contracts/jobs.ts'
import { defineCommand } from '../command.ts'
import { connect } from '../context.ts'
import { cancelOnInterruptOption, followedExitCode, followJob, interruptNote } from '../follow-job.ts'
import { resultLines, whyLines } from '../job-lines.ts'
import { createJobProgress } from '../job-progress.ts'
import { projectOption, requireProject } from '../project-choice.ts'
import { readSubmitOptions, submitOptions } from '../submit-options.ts'

export const ingest = defineCommand({
  name: 'ingest',
  summary: 'fetch a git repository into a project and make its code searchable',
  usage: 'URL',
  notes: [
    'URL is https://host/path, or a path of a repository on the worker’s machine that its owner has allowed.',
    interruptNote,
  ],
  options: {
    ref: { type: 'string', value: 'REF', summary: 'branch, tag or full commit id; the default branch unless given' },
    ...submitOptions,
    project: projectOption,
    'no-wait': { type: 'boolean', summary: 'only submit, do not watch' },
    'cancel-on-interrupt': cancelOnInterruptOption,
  },
  arguments: [1, 1],
  async run(context) {
    const { options, terminal, machine } = context
    const settings = readSubmitOptions(options)
    const connection = await connect(context)
    const { client } = connection
    const project = await requireProject(connection, options.project)
    const repository = repositoryAddress(context.arguments[0] ?? '')
    const submitted = await client.call(submitJob, {
      params: { projectId: project.id },
      body: { kind: 'ingest', input: { repository, ref: options.ref }, ...settings },
      idempotencyKey: machine.newId(),
    })
    if (options['no-wait']) {
      return {
        json: { job: submitted },
        lines: [`Queued job ${submitted.id}. Watch it: hivesync job watch ${submitted.id}`],
      }
    }
    await terminal.note(`Ingesting ${repository} into ${project.name}, job ${submitted.id}`)
    const progress = createJobProgress(terminal, machine)
    const cancelOnInterrupt = options['cancel-on-interrupt']
    await progress.start(submitted)
    const followed = await progress.around(() =>
      followJob(context, client, submitted, { onEvent: progress.onEvent, cancelOnInterrupt }),
    )
    const { job, how } = followed
    const headline =
      job.state === 'succeeded' ? 'Ingested' : `Not ingested: the job ${how === 'ended' ? job.state : `was ${how}`}`
    const lines =
      how === 'ended'
        ? [`${headline} ${job.state === 'succeeded' ? repository : ''}`.trim(), ...whyLines(job), ...resultLines(job)]
        : []
    return { json: { job, how }, lines, exitCode: followedExitCode(followed) }
  },
})

/** A path becomes a file: address; whether the worker may read it is for its owner to say. */
function repositoryAddress(text: string): string {
  return /^(\/|\.{1,2}(\/|$))/.test(text) ? pathToFileURL(text).href.replace(/\/$/, '') : text
}
