"""The node: the only room that imports rclpy and message packages. `dds` alone needs neither."""
