import type { SoakReport, WorkerSoakReport } from '@iommukit/integration';
import { grouped } from './table.ts';

/** What was done, and what broke, with the operations that suffice for it. */
export function renderSoak({
  ok,
  summary,
  seed,
  digest,
  violation,
  operations,
}: SoakReport): string {
  const { steps, accesses, commands, events, faults, pending } = summary;
  const lines = [
    `seed ${seed}, digest ${digest}`,
    `work: steps ${grouped(steps)}, accesses ${grouped(accesses)}, commands ${grouped(commands)}, events ${grouped(events)}, page faults ${grouped(faults)}, uses while a flush was pending ${grouped(pending)}`,
  ];
  if (violation !== null) lines.push(`${violation.rule}: ${violation.text}`);
  for (const operation of operations) lines.push(`  ${JSON.stringify(operation)}`);
  lines.push(
    ok
      ? 'ok: no invariant broken'
      : `NOT OK: 1 invariant broken, ${operations.length} operations suffice`,
  );
  return `${lines.join('\n')}\n`;
}

/** What the threads did, and what broke. */
export function renderWorkerSoak({ ok, summary, broken }: WorkerSoakReport): string {
  const { workers, steps, accesses, settled, commands, syncs, races } = summary;
  const work = `work: workers ${workers}, steps ${grouped(steps)}, accesses ${grouped(accesses)}, compared ${grouped(settled)}, commands ${grouped(commands)}, syncs ${grouped(syncs)}, stale uses while an invalidation was under way ${grouped(races)}`;
  const verdict = ok ? 'ok: no invariant broken' : `NOT OK: ${broken.length} invariants broken`;
  return `${[work, ...broken, verdict].join('\n')}\n`;
}
