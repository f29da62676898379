(module
  (memory (export "memory") 1 4)
  (func $never (result i32) (unreachable))
  (func $two (result i32 i64) (i32.const 1) (i64.const 2))
  (func (export "headstart_main") (result i32)
    (block (return (i32.const 1)) (drop (call $never)))
    (loop (br 0) (drop (i32.add (unreachable) (i32.const 1))))
    (drop (call $two)) (drop)
    (i32.const 0)))
