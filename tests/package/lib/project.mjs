// Projects that use the package: `npm pack`, and `npm install` of the tarball into copies of the fixtures.

import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Program, output } from '../../browser/lib/process.mjs';

/** Packs the built package as a release does; returns the tarball's path. */
export function pack(folder, work) {
  for (const name of readdirSync(work)) if (name.endsWith('.tgz')) rmSync(join(work, name));
  const said = output('npm', ['pack', folder, '--silent', '--ignore-scripts', '--pack-destination', work]);
  return join(work, basename(said.toString().trim().split('\n').pop()));
}

/** Installs the tarball into the project in `folder`, offline: it has no dependencies. Returns `folder`. */
export async function install(folder, tarball) {
  mkdirSync(folder, { recursive: true });
  if (!existsSync(join(folder, 'package.json'))) writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n');
  // npm takes an installed package of the same version for the same package.
  rmSync(join(folder, 'node_modules/seamcast'), { recursive: true, force: true });
  await npm(folder, ['install', '--no-save', '--offline', tarball]);
  return folder;
}

/** A copy of a fixture with its locked tools, kept between runs, and the tarball in it. */
export async function project(fixture, work, tarball) {
  const folder = join(work, basename(fixture));
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) if (name !== 'node_modules') rmSync(join(folder, name), { recursive: true });
  cpSync(fixture, folder, { recursive: true, filter: (path) => !path.endsWith('/node_modules') });
  const lock = readFileSync(join(folder, 'package-lock.json'), 'utf8');
  const installed = join(folder, 'node_modules/.lock-of-the-tests');
  if (!existsSync(installed) || readFileSync(installed, 'utf8') !== lock) {
    await npm(folder, ['ci']);
    writeFileSync(installed, lock);
  }
  return install(folder, tarball);
}

const npm = (cwd, args) => new Program('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd }).succeeded(300_000);
