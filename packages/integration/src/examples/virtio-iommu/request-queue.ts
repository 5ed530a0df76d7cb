import { ERRNO, type MemoryView, type Platform } from '@iommukit/platform';
import { loadBytes, storeBytes } from './guest-memory.lanes.ts';
import { encodeRequest, READABLE_BYTES, type Request, STATUS, TAIL_BYTES } from './request.ts';
import { type Piece, QueueDriver, type QueueLayout } from './virtqueue.ts';

/** The longest a request may take, microseconds of the injected clock. */
const TIMEOUT_US = 1_000_000;
/** `ENOSYS` of Linux's generic `errno.h`. */
const ENOSYS = 38;

/** What a queue of requests is made of. */
export interface RequestQueueParts {
  readonly view: MemoryView;
  readonly layout: QueueLayout;
  /** Where the requests themselves stand, one for every two descriptors. */
  readonly buffers: number;
  /** Bytes of properties in a PROBE request. */
  readonly probeSize: number;
  readonly platform: Platform;
  /** Tells the device that there is something (an available buffer notification). */
  readonly notify: () => void;
}

/** What became of a request that was waited for: 0 or a negative errno, and what the device wrote before the tail. */
export interface Answer {
  readonly errno: number;
  readonly properties: Uint8Array;
}

interface InFlight {
  readonly tailAt: number;
  readonly answer: ((answer: Answer) => void) | null;
}

/** The errno for a status, as `drivers/iommu/virtio-iommu.c` has it. */
export function statusErrno(status: number): number {
  if (status === STATUS.OK) return 0;
  if (status === STATUS.UNSUPP) return -ENOSYS;
  if (status === STATUS.INVAL) return -ERRNO.EINVAL;
  if (status === STATUS.RANGE) return -ERRNO.ERANGE;
  if (status === STATUS.NOENT) return -ERRNO.ENOENT;
  if (status === STATUS.FAULT) return -ERRNO.EFAULT;
  if (status === STATUS.NOMEM) return -ERRNO.ENOMEM;
  return -ERRNO.EIO;
}

/** Bytes between the buffers of two requests. */
export function bufferStride(probeSize: number): number {
  return Math.ceil((READABLE_BYTES.probe + probeSize + TAIL_BYTES) / 16) * 16;
}

/** Requests on their way to the device: posted ones are waited for together, as `viommu_add_req` and `viommu_sync_req` do. */
export class RequestQueue {
  sent = 0;
  notifications = 0;
  /** Times that a request had to wait, because all of the queue was in use. */
  fullWaits = 0;
  readonly #parts: RequestQueueParts;
  readonly #queue: QueueDriver;
  readonly #free: number[];
  readonly #inFlight = new Map<number, InFlight>();
  #unannounced = 0;
  #failure = 0;

  constructor(parts: RequestQueueParts) {
    this.#parts = parts;
    this.#queue = new QueueDriver(parts.view, parts.layout);
    this.#free = Array.from({ length: parts.layout.size / 2 }, (_, slot) => slot).reverse();
  }

  /** Sends a request and does not wait for it: 0, or -ETIMEDOUT when the queue stays full. */
  post(request: Request): number {
    return this.#send(request, null);
  }

  /** Waits for everything that was posted: 0, or the errno of the first that failed since the last time. */
  sync(): number {
    const errno = this.#wait(() => this.#inFlight.size === 0);
    const failure = this.#failure;
    this.#failure = 0;
    return errno === 0 ? failure : errno;
  }

  /** Sends a request and waits for it, and for what was posted before. */
  call(request: Request): Answer {
    const got: { answer?: Answer } = {};
    const errno = this.#send(request, (answer) => {
      got.answer = answer;
    });
    const waited = errno === 0 ? this.#wait(() => got.answer !== undefined) : errno;
    return got.answer ?? { errno: waited, properties: new Uint8Array() };
  }

  #send(request: Request, answer: InFlight['answer']): number {
    if (this.#free.length === 0) {
      this.fullWaits++;
      const errno = this.#wait(() => this.#free.length > 0);
      if (errno !== 0) return errno;
    }
    const slot = this.#free.pop();
    if (slot === undefined) return -ERRNO.ETIMEDOUT;
    const { view, buffers, probeSize } = this.#parts;
    const paddr = buffers + slot * bufferStride(probeSize);
    const bytes = encodeRequest(request);
    storeBytes(view, paddr, bytes);
    const properties = request.type === 'probe' ? probeSize : 0;
    const writable: Piece = { paddr: paddr + bytes.length, length: properties + TAIL_BYTES };
    storeBytes(view, writable.paddr, new Uint8Array(writable.length));
    this.#inFlight.set(slot, { tailAt: writable.paddr + properties, answer });
    this.#queue.offer(2 * slot, { paddr, length: bytes.length }, writable);
    this.sent++;
    this.#unannounced++;
    return 0;
  }

  #wait(condition: () => boolean): number {
    if (this.#unannounced > 0) {
      this.#unannounced = 0;
      this.notifications++;
      this.#parts.notify();
    }
    const done = this.#parts.platform.pollUntil(() => {
      this.#collect();
      return condition();
    }, TIMEOUT_US);
    return done ? 0 : -ERRNO.ETIMEDOUT;
  }

  #collect(): void {
    for (let used = this.#queue.take(); used !== null; used = this.#queue.take()) {
      const slot = used.head / 2;
      const request = this.#inFlight.get(slot);
      if (request === undefined) continue;
      this.#inFlight.delete(slot);
      this.#free.push(slot);
      const { tailAt, answer } = request;
      const { view, buffers, probeSize } = this.#parts;
      // A buffer that came back unwritten is a failure (5.13.6.1).
      const status =
        used.written < TAIL_BYTES ? STATUS.IOERR : (loadBytes(view, tailAt, 1)[0] ?? STATUS.IOERR);
      const errno = statusErrno(status);
      const at = buffers + slot * bufferStride(probeSize) + READABLE_BYTES.probe;
      if (answer !== null) {
        const length = Math.max(0, tailAt - at);
        answer({ errno, properties: loadBytes(view, at, length) });
      } else if (this.#failure === 0) this.#failure = errno;
    }
  }
}
