'use client';

import { useEffect, useState } from 'react';
import { Player } from 'seamcast';
import { StreamDecoder } from 'seamcast/decoder';
import 'seamcast/element';
import { check } from './check.js';

/** A client component; it is rendered on the server first. */
export default function Listener() {
  const [player] = useState(() => new Player());
  useEffect(() => void check({ Player, StreamDecoder }), []);
  return <output>volume {player.volume}</output>;
}
