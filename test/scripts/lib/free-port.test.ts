import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { freePort } from '../../../scripts/lib/free-port.mjs';

const MANY = 100;
/** Where Linux begins to give ports to who asks for any. */
const EPHEMERAL = 32_768;

/** Whether nobody listens there. */
const isRefused = (port: number) =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(false);
    });
    socket.on('error', () => resolve(true));
  });

describe('a free port', () => {
  it('is no other call’s, nor one that the system gives to others meanwhile', async () => {
    const ports = await Promise.all(Array.from({ length: MANY }, freePort));
    expect(new Set(ports).size).toBe(MANY);
    expect(Math.max(...ports)).toBeLessThan(EPHEMERAL);
    for (const port of ports) expect(await isRefused(port)).toBe(true);
  });
});
