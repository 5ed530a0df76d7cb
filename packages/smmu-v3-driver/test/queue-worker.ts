// One producer, or the consumer, of a command queue between workers; see queue-workers.test.ts.
import { parentPort } from 'node:worker_threads';
import { IO_PGTABLE_PROFILES } from '@iommukit/io-pgtable';
import { createPrng, FrameAllocator, SharedMemory, TraceChannel } from '@iommukit/platform';
import {
  CommandBatch,
  CommandQueue,
  DRIVER_PROFILES,
  type DriverEvent,
  SharedQueueWords,
  SmmuV3Driver,
  type SyncSignal,
} from '../src/index.ts';
import {
  type Consumed,
  Consumer,
  fillBatch,
  SharedRegisters,
  WorkerPlatform,
} from './shared-queue.lanes.ts';

/** What all threads of a run share. */
export interface QueueWorld {
  readonly base: number;
  readonly ram: SharedArrayBuffer;
  readonly registers: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
  /** Commands consumed, a word for each producer. */
  readonly seen: SharedArrayBuffer;
  /** Word 0: producers that are done. */
  readonly gate: SharedArrayBuffer;
  readonly lg2: number;
  readonly signal: SyncSignal;
  /** The queue as a probed driver has it, or one of its own. */
  readonly through: 'driver' | 'queue';
}

export interface ProducerTask extends QueueWorld {
  readonly role: 'producer';
  readonly who: number;
  readonly commands: number;
  readonly mostAtOnce: number;
}

export interface ConsumerTask extends QueueWorld {
  readonly role: 'consumer';
  /** Physical address of the ring. */
  readonly queue: number;
  readonly producers: number;
  /** CONS at the start. */
  readonly cons: number;
}

export interface ProducerAnswer {
  /** SYNCs that returned before the producer's own commands were consumed, or with an error. */
  readonly early: number;
  readonly syncs: number;
  readonly fullWaits: number;
}

/** A driver over shared memory; every one of the same world finds its queue at the same address. */
export function sharedDriver(world: QueueWorld): SmmuV3Driver {
  const memory = new SharedMemory({ base: world.base, buffer: world.ram });
  const half = world.ram.byteLength / 2;
  const driver = SmmuV3Driver.create({
    registers: new SharedRegisters(world.registers),
    memory,
    frames: new FrameAllocator({ base: world.base + half, size: half }),
    coherent: new FrameAllocator({ base: world.base, size: half }),
    platform: new WorkerPlatform(),
    profile: DRIVER_PROFILES['7.3'],
    pgtableProfile: IO_PGTABLE_PROFILES['7.3'],
    gatherPages() {},
    queueWords: new SharedQueueWords(world.words),
  });
  if (typeof driver === 'number') throw new Error(`create: ${driver}`);
  return driver;
}

function queueOf(world: QueueWorld): CommandQueue {
  if (world.through === 'driver') return sharedDriver(world).cmdq;
  return new CommandQueue({
    memory: new SharedMemory({ base: world.base, buffer: world.ram }),
    registers: new SharedRegisters(world.registers),
    platform: new WorkerPlatform(),
    trace: new TraceChannel<DriverEvent>(),
    log: () => {},
    base: world.base,
    lg2: world.lg2,
    words: new SharedQueueWords(world.words),
    signal: world.signal,
  });
}

function produce(task: ProducerTask): ProducerAnswer {
  const queue = queueOf(task);
  const seen = new Int32Array(task.seen);
  const random = createPrng(task.who + 1);
  const batch = new CommandBatch();
  let early = 0;
  let seq = 0;
  while (seq < task.commands) {
    const count = Math.min(1 + random.below(task.mostAtOnce), task.commands - seq);
    fillBatch(batch, task.who, seq, count);
    seq += count;
    if (seq < task.commands && random.below(2) === 0) {
      queue.issue(batch);
      continue;
    }
    const errno = queue.issueSync(batch);
    if (errno !== 0 || Atomics.load(seen, task.who) < seq) early++;
  }
  Atomics.add(new Int32Array(task.gate), 0, 1);
  return { early, syncs: queue.syncs, fullWaits: queue.fullWaits };
}

function consume(task: ConsumerTask): Consumed {
  const consumer = new Consumer({
    memory: new SharedMemory({ base: task.base, buffer: task.ram }),
    registers: new SharedRegisters(task.registers),
    base: task.queue,
    lg2: task.lg2,
    seen: new Int32Array(task.seen),
    cons: task.cons,
  });
  const gate = new Int32Array(task.gate);
  const platform = new WorkerPlatform();
  const random = createPrng(99);
  let pending = 0;
  for (;;) {
    platform.pollUntil(() => {
      const done = Atomics.load(gate, 0) === task.producers;
      pending = consumer.pending();
      return pending > 0 || done;
    });
    if (pending === 0) return consumer.found;
    consumer.take(1 + random.below(pending));
  }
}

const port = parentPort;
if (port !== null)
  port.on('message', (task: ProducerTask | ConsumerTask) => {
    port.postMessage(task.role === 'producer' ? produce(task) : consume(task));
  });
