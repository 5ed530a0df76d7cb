import { IommuError } from '@iommukit/bits';

/**
 * Core was used in an order that the kernel cannot reach; code `CORE_STATE`.
 * @example try { core.probeDevice(device, ops); } catch (e) { (e as CoreStateError).operands.device; }
 */
export class CoreStateError extends IommuError<{ device: string }> {
  override readonly name = 'CoreStateError';
  constructor(operands: { device: string }, what: string, fix: string) {
    super('CORE_STATE', operands, `${operands.device} ${what}`, fix);
  }
}
