import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { freePort } from '../../../scripts/lib/free-port.mjs';

const MANY = 100;
/** The start of the range of ports that Linux assigns. */
const EPHEMERAL = 32_768;

/** Whether the port has no listener. */
const isRefused = (port: number) =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', () => resolve(true));
  });

describe('a free port', () => {
  it('is given to no other call, and is outside the range that the system assigns', async () => {
    const ports = await Promise.all(Array.from({ length: MANY }, freePort));
    expect(new Set(ports).size).toBe(MANY);
    expect(Math.max(...ports)).toBeLessThan(EPHEMERAL);
    for (const port of ports) expect(await isRefused(port)).toBe(true);
  });
});
