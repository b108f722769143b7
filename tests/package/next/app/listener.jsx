'use client';

import { useEffect, useState } from 'react';
import { Player } from 'seamcast';
import { StreamDecoder } from 'seamcast/decoder';
import 'seamcast/element';
import { check } from './check.js';
import { Radio } from './radio.jsx';

/** A client component; it is rendered on the server first. */
export default function Listener() {
  const [player] = useState(() => new Player());
  const [stream, setStream] = useState(null);
  useEffect(() => {
    // What the recipe's component says, one text after another.
    const states = (globalThis.states = []);
    new MutationObserver(() => states.push(document.querySelector('button')?.textContent.trim() ?? ''))
      .observe(document.body, { subtree: true, childList: true, characterData: true });
    setStream(new URLSearchParams(location.search).get('stream'));
    void check({ Player, StreamDecoder });
  }, []);
  return (
    <>
      <output>volume {player.volume}</output>
      {stream && <Radio src={stream} />}
    </>
  );
}
