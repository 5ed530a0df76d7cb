import { CMD_ATC_INV } from '@iommukit/arm-arch';
import {
  atcSpan,
  buildCommand,
  CommandBatch,
  type CommandRecord,
  type DriverProfile,
  endpointSpan,
  resumeResponse,
  syncCommand,
} from '@iommukit/smmu-v3-driver';
import { commandAt, fieldOf, lanesOf, namesOf, numberOf } from './smmu-recording.lanes.ts';
import type { VectorTally } from './vector-tally.ts';
import { type JsonRow, VectorError } from './vector-values.lanes.ts';

/** Runs a file of kind `smmu-cmd` as a kernel's driver. */
export function runSmmuCmd(file: JsonRow, tally: VectorTally, profile: DriverProfile): void {
  for (const [i, row] of (file['cases'] as JsonRow[]).entries()) {
    tally.operations++;
    const made = make(row, profile);
    tally.check(i, 'errno', typeof made === 'number' ? made : 0, row['errno'] ?? 0);
    if (row['cmd'] !== undefined) tally.check(i, 'cmd', made, row['cmd']);
  }
}

/** The command of a row, or the errno with which the builder refuses it. */
function make(row: JsonRow, profile: DriverProfile): readonly [string, string] | number {
  switch (row['make']) {
    case 'sync':
      return commandAt(syncOf(row));
    case 'atc_range': {
      const span = profile.invalidation === 'array' ? atcSpan : endpointSpan;
      const bytes = span(lanesOf(row['iova']), lanesOf(row['size']));
      return one((batch) => batch.atcInv({ ...endpointOf(row), ...bytes }));
    }
    default:
      return profile.commandBuilder === 'record' ? record(row) : words(row);
  }
}

function one(add: (batch: CommandBatch) => void): readonly [string, string] {
  const batch = new CommandBatch();
  add(batch);
  return commandAt(batch.words);
}

function endpointOf(row: JsonRow): { readonly streamId: number; readonly substreamId: number } {
  return { streamId: Number(row['sid'] ?? 0), substreamId: Number(row['ssid'] ?? 0) };
}

function syncOf(row: JsonRow): Uint32Array {
  const has = namesOf(row['options']);
  return syncCommand({
    base: numberOf(row['base']),
    lg2: Number(row['log2size']),
    prod: numberOf(row['prod']),
    msiPolling: has('MSIPOLL'),
    // Only the queues of that extension are polled; the main one of the same SMMU is not.
    busyPolling: has('TEGRA241_CMDQV') && row['secondary'] === true,
  });
}

/** The builders of 7.3, one for each command. */
function words(row: JsonRow): readonly [string, string] {
  const { streamId, substreamId } = endpointOf(row);
  const leaf = row['leaf'] === true ? 1 : 0;
  const opcode = numberOf(row['opcode']);
  switch (row['make']) {
    case 'op':
      return one((batch) => batch.opcode(opcode));
    case 'cfgi_all':
      return one((batch) => batch.cfgiAll());
    case 'cfgi_ste':
      return one((batch) => batch.cfgiSte(streamId, leaf));
    case 'cfgi_cd':
      return one((batch) => batch.cfgiCd(streamId, substreamId, leaf));
    case 'prefetch_cfg':
      return one((batch) => batch.prefetchConfig(streamId));
    case 'tlbi': {
      const tag = { asid: Number(row['asid'] ?? 0), vmid: Number(row['vmid'] ?? 0) };
      return one((batch) => batch.tlbiTag(opcode, tag));
    }
    case 'atc_inv': {
      const { lo, hi } = lanesOf(row['addr']);
      // Any 64-bit address, of which the page counts.
      const address = CMD_ATC_INV.get.Address([0, 0, lo, hi]);
      const size = fieldOf(row['size'], 6);
      return one((batch) => batch.atcInv({ streamId, substreamId, address, size }));
    }
    case 'atc_inv_all':
      return one((batch) => batch.atcInv({ streamId, substreamId, address: 0, size: 52 }));
    case 'pri_resp':
      return one((batch) =>
        batch.priResponse({
          streamId,
          substreamId,
          ssv: row['ssv'] === true,
          group: Number(row['grpid'] ?? 0),
          response: Number(row['resp'] ?? 0),
        }),
      );
    case 'resume':
      return one((batch) =>
        batch.resume(streamId, Number(row['stag'] ?? 0), Number(row['resp'] ?? 0)),
      );
    case 'page_response':
      return one((batch) =>
        batch.resume(streamId, Number(row['grpid'] ?? 0), resumeResponse(Number(row['code'] ?? 0))),
      );
    default:
      throw new VectorError('make', 'a builder of this kernel', row['make']);
  }
}

/** The one builder of kernels before 7.3. */
function record(row: JsonRow): readonly [string, string] | number {
  if (row['make'] === 'page_response') return words(row);
  const given: CommandRecord = {
    opcode: numberOf(row['opcode']),
    ...endpointOf(row),
    ssv: row['ssv'] === true,
    leaf: row['leaf'] === true,
    num: Number(row['num'] ?? 0),
    scale: Number(row['scale'] ?? 0),
    asid: Number(row['asid'] ?? 0),
    vmid: Number(row['vmid'] ?? 0),
    ttl: Number(row['ttl'] ?? 0),
    tg: Number(row['tg'] ?? 0),
    address: lanesOf(row['addr']),
    size: numberOf(row['size']),
    global: row['global'] === true,
    group: Number(row['grpid'] ?? 0),
    response: Number(row['resp'] ?? 0),
    stag: Number(row['stag'] ?? 0),
    ...(row['msiaddr'] === undefined ? {} : { msiAddress: lanesOf(row['msiaddr']) }),
  };
  const lanes = new Uint32Array(4);
  const errno = buildCommand(given, lanes);
  return errno < 0 ? errno : commandAt(lanes);
}
